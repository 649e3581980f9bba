"""A cluster of many pools without nodes: real control plane, real operator, pretended pods."""
