"""What rows say, for people: tables, figures and a page to look things up in."""
