// What the forms of schedules and triggers have in common, as the server takes it.

export interface Ahead { usd: string; folder: string; hosts: string; leave: string }

export const ahead = ({ usd, folder, hosts, leave }: Ahead) => ({
  hosts: hosts.split(/[\s,]+/).filter(Boolean),
  leave: leave.split('\n').map((line) => line.trim()).filter(Boolean),
  ...(usd.trim() ? { budget_usd: usd.trim().replace(/^\$/, '') } : {}),
  ...(folder.trim() ? { folder: folder.trim() } : {}),
})
