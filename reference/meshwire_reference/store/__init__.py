"""Where the documents are kept between calls: in memory, to the end of the process."""
