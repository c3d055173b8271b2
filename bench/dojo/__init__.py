"""AgentDojo's environments replayed under our rules: cards of its tools, the replay, the attackers."""
