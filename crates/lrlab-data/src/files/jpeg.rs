//! JPEG pictures.

use image::error::{DecodingError, ParameterError, ParameterErrorKind};
use image::{ImageError, ImageFormat, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Decodes a picture with portable code. JPEG leaves the last bit of a value to the decoder, and SIMD code may differ between
/// processors.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(false)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let values = decoder
        .decode()
        .map_err(|error| ImageError::Decoding(DecodingError::new(ImageFormat::Jpeg.into(), error)))?;
    let size = decoder.dimensions().and_then(|(w, h)| Some((u32::try_from(w).ok()?, u32::try_from(h).ok()?)));
    size.and_then(|(width, height)| RgbImage::from_raw(width, height, values)).ok_or_else(|| {
        ImageError::Parameter(ParameterError::from_kind(ParameterErrorKind::DimensionMismatch))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of the decoded bytes of a picture in colours and of one in grey.
    #[test]
    fn decodes_to_the_recorded_bytes() {
        for (file, expected) in [
            (include_bytes!("tests/colour.jpg").as_slice(), "82339c3c550bb0cc"),
            (include_bytes!("tests/grey.jpg"), "975f235f8b3ba266"),
        ] {
            let picture = decode(file).unwrap();
            assert_eq!(picture.dimensions(), (32, 32));
            assert_eq!(&blake3::hash(picture.as_raw()).to_hex()[..16], expected);
            // The result of SIMD code differs by an invisible amount.
            let other = image::load_from_memory(file).unwrap().into_rgb8();
            let largest = picture.as_raw().iter().zip(other.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(largest <= Some(2), "{largest:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let file = include_bytes!("tests/colour.jpg");
        let error = decode(&file[..20]).unwrap_err().to_string();
        assert!(error.contains("Jpeg"), "{error}");
    }
}
