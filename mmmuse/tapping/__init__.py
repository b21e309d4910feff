"""Where a network is tapped: hooks by module path, shapes, features, proposals."""
