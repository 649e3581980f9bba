// Command registry is the image registry of the CNCF's distribution project with its images in files.
//
// The project's own command brings the libraries of three clouds too: nearly half of what is compiled.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}
