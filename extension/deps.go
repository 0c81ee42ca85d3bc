package tokenclock

import (
	_ "github.com/HdrHistogram/hdrhistogram-go"
	_ "github.com/prometheus/common/expfmt"
	_ "github.com/stretchr/testify/require"
	_ "github.com/tidwall/gjson"
	_ "go.k6.io/k6/v2/cmd"
	_ "go.uber.org/goleak"
	_ "golang.org/x/net/http2"
	_ "golang.org/x/sys/unix"
	_ "pgregory.net/rapid"
	_ "github.com/spf13/cobra"
	_ "github.com/grafana/sobek"
	_ "github.com/sirupsen/logrus"
)
