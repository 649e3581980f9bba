// Package ext stands in for a module that Traefik's go.mod finds in its own repository and that is
// published nowhere. Its types are the places where a build may add fields of its own to Traefik's
// dynamic configuration; this one adds none.
package ext

// HTTP is part of every HTTP configuration.
type HTTP struct{}

// Router is part of every router.
type Router struct{}
