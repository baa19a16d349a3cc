"""HTTP to structs and back: headers, decoding, validation, encoding."""
