"""`python -m toynet`, which is what `torchrun -m toynet` starts on every rank."""

from toynet.cli.app import main

main()
