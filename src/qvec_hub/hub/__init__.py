"""All code that talks to the Hub or writes for it: `transfer`, `cards` and `publish`. Search is in `hub_search`."""
