"""What the data are: sensors and their bands, channels, label classes and the label grid."""
