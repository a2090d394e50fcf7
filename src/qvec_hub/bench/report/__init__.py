"""Reports on benchmark rows: tables, figures and a leaderboard."""
