"""What starts programs: a file for each launcher, and the table of them."""
