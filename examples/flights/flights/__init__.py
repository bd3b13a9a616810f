"""Which flights out of New York will be late: from raw tables to a registered model."""

MODEL, ALIAS = "flight-delay", "champion"
