"""How many riders will enter a station of Chicago's L on each of the next 28 days."""
