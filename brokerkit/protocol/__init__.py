"""The conversion between HTTP and structs: headers, decoding, validation and encoding."""
