"""Whole sessions of agents, in the shapes of their requests and with words of our own, for `bsgateway replay`."""
