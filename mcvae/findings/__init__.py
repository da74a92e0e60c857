"""What many runs say together: statistics, comparisons, published figures, tables, rankings, the ledger of runs."""
