"""Optional features beside the core. `__main__` lists them; nothing else knows one."""
