"""Models that draw answers: image editors that are told what to draw, behind the contract of drawings."""
