"""The compiled core against its pure-Python twin: same arguments, same results, to the last bit."""
