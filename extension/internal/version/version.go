// Package version is what a run was made with.
package version

import (
	"runtime"
	"runtime/debug"
)

// Tokenclock is the version of this extension.
const Tokenclock = "0.1.0"

// UserAgent is the User-Agent of measured requests where the script sets none.
const UserAgent = "tokenclock/" + Tokenclock

// Versions is Versions of index.d.ts.
type Versions struct {
	Tokenclock string `json:"tokenclock" js:"tokenclock"`
	K6         string `json:"k6" js:"k6"`
	Go         string `json:"go" js:"go"`
	OS         string `json:"os" js:"os"`
}

// OfProcess returns the versions that this process was built with. K6 is empty where the build does not record it.
func OfProcess() Versions {
	v := Versions{Tokenclock: Tokenclock, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "go.k6.io/k6/v2" {
				v.K6 = dep.Version
			}
		}
	}
	return v
}
