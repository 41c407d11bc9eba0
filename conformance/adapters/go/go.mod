module meshwire

go 1.21
