"""The command line for people: where projects stand, who has to do what, and decisions about gates."""
