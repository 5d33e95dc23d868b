"""The service: HTTP, live views and the page, wherever its engine lives."""
