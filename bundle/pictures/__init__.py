"""What people look at: previews, the page over all cases, figures."""
