"""Values of fields as others write them, in the rows of a data set and in a shop's own events."""
