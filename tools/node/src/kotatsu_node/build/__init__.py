"""Getting ready what a node is made from: packages, programs, images."""
