"""One module per mart: what it counts of which table, and how its rows follow from the counts."""
