"""Is a data set right: measured once, judged by rules, shown as a report."""
