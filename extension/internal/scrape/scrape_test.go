package scrape

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

const page = `# HELP q Requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 3
vllm:num_requests_running{engine="1"} 4
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:kv_cache_usage_perc{engine="1"} 0.7
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total 100
# TYPE vllm:latency_seconds histogram
vllm:latency_seconds_bucket{engine="0",le="0.1"} 2
vllm:latency_seconds_bucket{engine="0",le="+Inf"} 5
vllm:latency_seconds_sum{engine="0"} 1
vllm:latency_seconds_count{engine="0"} 5
vllm:latency_seconds_bucket{engine="1",le="0.1"} 1
vllm:latency_seconds_bucket{engine="1",le="+Inf"} 1
vllm:latency_seconds_sum{engine="1"} 0.05
vllm:latency_seconds_count{engine="1"} 1
# TYPE lat summary
lat{quantile="0.5"} 3
lat_sum 9
lat_count 3
# TYPE trt gauge
trt{type="active"} 6
trt{type="max"} 64
untyped_one 2.5
untyped_total 7
`

func read(t *testing.T, text string, selectors ...string) map[string]Metric {
	t.Helper()
	parsed, err := ParseSelectors(selectors)
	require.NoError(t, err)
	metrics, err := NewReader(parsed).Read([]byte(text))
	require.NoError(t, err)
	out := map[string]Metric{}
	for _, m := range metrics {
		out[m.Name] = m
	}
	return out
}

func TestSelector_ChoosesByNameAndLabelAndJoinsSeries(t *testing.T) {
	got := read(t, page, "vllm:num_*", "mean(vllm:kv_cache_usage_perc)", "vllm:prompt_tokens_total", "vllm:latency_seconds", `trt{type="active"}`, "untyped_*", "lat", "gone")
	require.Equal(t, Metric{Name: "vllm:num_requests_running", Kind: Gauge, Value: 7}, got["vllm:num_requests_running"])
	require.InDelta(t, 0.6, got["vllm:kv_cache_usage_perc"].Value, 1e-12, "a share is not summed")
	require.Equal(t, Metric{Name: "vllm:prompt_tokens_total", Kind: Counter, Value: 100}, got["vllm:prompt_tokens_total"])
	require.Equal(t, Metric{Name: "vllm:latency_seconds", Kind: Histogram, Count: 6, Sum: 1.05, Buckets: []Bucket{{0.1, 3}}}, got["vllm:latency_seconds"])
	require.Equal(t, 6.0, got[`trt{type="active"}`].Value)
	require.Equal(t, Gauge, got["untyped_one"].Kind)
	require.Equal(t, Counter, got["untyped_total"].Kind)
	require.Equal(t, Metric{Name: "lat", Kind: Histogram, Count: 3, Sum: 9}, got["lat"], "a summary has no buckets")
	require.Len(t, got, 8)
	require.Equal(t, []string{`vllm:latency_seconds_count`, `vllm:latency_seconds_sum`, `vllm:latency_seconds_bucket{le="0.1"}`}, got["vllm:latency_seconds"].Columns())
	require.Equal(t, 4.0, read(t, page, "max(vllm:num_requests_running)")["vllm:num_requests_running"].Value)
	require.Equal(t, []string{`vllm:latency_seconds_count{engine="1"}`, `vllm:latency_seconds_sum{engine="1"}`, `vllm:latency_seconds_bucket{engine="1",le="0.1"}`},
		read(t, page, `vllm:latency_seconds{engine="1"}`)[`vllm:latency_seconds{engine="1"}`].Columns())
}

func TestSelector_RefusesWhatIsNone(t *testing.T) {
	for _, text := range []string{"", "a b", "median(a)", `a{b=c}`, "a{b", "a-b", "3a"} {
		_, err := ParseSelector(text)
		require.Error(t, err, text)
	}
	_, err := ParseSelectors(nil)
	require.Error(t, err)
}

func TestReader_LineThatCannotBeReadIsReported(t *testing.T) {
	parsed, err := ParseSelectors([]string{"a"})
	require.NoError(t, err)
	for _, bad := range []string{"this is { no exposition", "<html>", "a{ 1\n", "a x\n"} {
		_, err = NewReader(parsed).Read([]byte("a 1\n" + bad))
		require.Error(t, err, bad)
	}
}

func TestReader_RecordedPagesOfRealServers(t *testing.T) {
	for file, wanted := range map[string][]string{
		"vllm":  {"vllm:num_requests_running", "vllm:kv_cache_usage_perc", "vllm:num_preemptions_total", "vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds", "vllm:prefix_cache_hits_total"},
		"llama": {"llamacpp:requests_processing", "llamacpp:requests_deferred", "llamacpp:prompt_tokens_cached_total", "llamacpp:spec_decode_num_accepted_tokens_total"},
	} {
		text, err := os.ReadFile("../stream/testdata/recorded/" + file + "/metrics_all.txt")
		require.NoError(t, err)
		got := read(t, string(text), wanted...)
		require.Len(t, got, len(wanted), file)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(page))
	parsed, _ := ParseSelectors([]string{"*"})
	f.Fuzz(func(_ *testing.T, text []byte) {
		metrics, _ := NewReader(parsed).Read(text)
		for _, m := range metrics {
			if len(m.Columns()) != len(m.Values()) {
				panic("columns and values differ")
			}
		}
	})
}
