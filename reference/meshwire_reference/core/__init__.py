"""The protocol logic of a node without any IO: inputs and the time go in, effects come out."""
