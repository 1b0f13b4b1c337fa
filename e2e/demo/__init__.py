"""The demo: customer 华升商贸 gets a real ERP, module by module."""
