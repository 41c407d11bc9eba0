"""Where documents are kept between calls and, once durable, between runs."""
