"""Drawing on pictures: one place for overlay, page, report and live views."""
