"""A rebuild: what it builds again, by which rules, and how a damaged lake is mended first."""
