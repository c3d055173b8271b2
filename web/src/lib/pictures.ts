// Pictures as models read them: of a kind that every vendor takes, no larger than helps, and without what a camera writes beside them
// (where it was taken, and when). What cannot be read as one stays a file.

const EDGE = 2048
const BYTES = 3_500_000
const AS_IS = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp'])

export const MOST = 8

export const isPicture = (file: File) => file.type.startsWith('image/') && file.type !== 'image/svg+xml'

/** The picture to send; null for a file that the browser does not read as one. */
export async function prepared(file: File): Promise<Blob | null> {
  const bitmap = await createImageBitmap(file).catch(() => null)
  if (!bitmap) return null
  const scale = Math.min(1, EDGE / Math.max(bitmap.width, bitmap.height))
  const still = file.type !== 'image/gif' // a picture that moves is sent as it is
  if (!still && file.size <= BYTES) return file
  if (scale === 1 && file.size <= BYTES && AS_IS.has(file.type) && file.type !== 'image/jpeg') return file
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)))
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  bitmap.close()
  if (file.type !== 'image/jpeg') {
    const sharp = await canvas.convertToBlob({ type: 'image/png' })
    if (sharp.size <= BYTES) return sharp
  }
  for (const quality of [0.9, 0.75, 0.5]) {
    const small = await canvas.convertToBlob({ type: 'image/jpeg', quality })
    if (small.size <= BYTES) return small
  }
  return null
}
