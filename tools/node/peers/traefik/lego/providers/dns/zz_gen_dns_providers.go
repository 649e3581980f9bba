// Package dns has none of lego's DNS providers. This file takes the place of lego's list of them when
// Traefik is built: the libraries of those clouds are most of what would be compiled, and tests ask
// nobody for a certificate.
package dns

import (
	"errors"

	"github.com/go-acme/lego/v5/challenge"
)

// NewDNSChallengeProviderByName knows no provider.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, errors.New("this build has no DNS provider: " + name)
}
