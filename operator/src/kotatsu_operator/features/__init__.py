"""Optional features beside the core. Entry points name them; nothing else knows one."""
