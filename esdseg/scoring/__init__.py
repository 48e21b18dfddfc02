"""From predictions to scores with error bars; the folders of evaluated runs, and their comparison."""
