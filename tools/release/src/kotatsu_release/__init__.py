"""From a commit to a release: images, charts and the kubectl plugin, in a registry and in files."""
