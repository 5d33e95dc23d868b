"""Models on other machines, asked over HTTP: within a budget, a rate and a patience."""
