// Command typecheck checks the types of a module's packages for other systems, from the sources of all that they import: no
// package is compiled, so that it takes seconds where a first `go build` for a system takes minutes.
//
//	typecheck DIRECTORY GOOS/GOARCH...
//
// It writes one line an error and ends with 1 where there is one.
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: typecheck DIRECTORY GOOS/GOARCH...")
		os.Exit(2)
	}
	wrong := false
	for _, target := range os.Args[2:] {
		system, architecture, found := strings.Cut(target, "/")
		if !found {
			fmt.Fprintf(os.Stderr, "%s is no GOOS/GOARCH\n", target)
			os.Exit(2)
		}
		loaded, err := packages.Load(&packages.Config{
			Mode: packages.LoadAllSyntax,
			Dir:  os.Args[1],
			Env:  append(os.Environ(), "GOOS="+system, "GOARCH="+architecture, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly"),
		}, "./...")
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", target, err)
			os.Exit(2)
		}
		errors := 0
		packages.Visit(loaded, nil, func(p *packages.Package) {
			for _, e := range p.Errors {
				fmt.Printf("%s: %v\n", target, e)
				errors++
			}
		})
		wrong = wrong || errors > 0
		if errors == 0 && len(loaded) == 0 {
			fmt.Printf("%s: no package in %s\n", target, os.Args[1])
			wrong = true
		}
	}
	if wrong {
		os.Exit(1)
	}
}
