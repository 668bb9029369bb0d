"""The platform's HTTP routes, by who calls them."""
