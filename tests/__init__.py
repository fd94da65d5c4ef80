"""The tests as a package: pynq installs one of the same name, which would else be taken for it."""
