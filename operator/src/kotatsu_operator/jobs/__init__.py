"""The programs of the chart's hook Jobs: CRD upgrade and uninstall."""
