"""What one runs against workers from outside: does a model fit, how is it deployed, how much does it carry."""
