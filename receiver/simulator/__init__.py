"""A stand-in for Optilyz over HTTP, which shares no rule with the rest: a fake that agrees hides mistakes."""
