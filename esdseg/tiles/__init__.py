"""Raw tiles as they lie on disk: found, named, read and checked."""
