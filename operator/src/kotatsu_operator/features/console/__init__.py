"""The console: a read-only web page of all pools that the operator watches."""
